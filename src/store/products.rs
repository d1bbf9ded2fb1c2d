//! The catalogue.

use domain::{Currency, Money};
use entity::product::{ActiveModel, Column, Entity, Model};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::lists::Page;
use super::{Store, StoreError, Tx, rows};

/// Something that can be bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Its code.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// The price of one.
    pub price: Money,
}

impl Store {
    /// The products of these codes, in no order; unknown codes are left out.
    pub async fn products_by_sku(&self, skus: &[String]) -> Result<Vec<Product>, StoreError> {
        let rows = Entity::find().filter(Column::Sku.is_in(skus.iter().map(String::as_str))).all(&self.read).await?;
        rows.into_iter().map(read).collect()
    }

    /// A page of the catalogue, by code; `after` is a code.
    pub async fn products(&self, first: u64, after: Option<&str>) -> Result<Page<Product>, StoreError> {
        let mut query = Entity::find().order_by_asc(Column::Sku).limit(first + 1);
        if let Some(after) = after {
            query = query.filter(Column::Sku.gt(after));
        }
        let rows = query.all(&self.read).await?;
        let items = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::forward(items, first, after.is_some()))
    }

    /// How many products there are.
    pub async fn product_count(&self) -> Result<u64, StoreError> {
        Ok(Entity::find().count(&self.read).await?)
    }
}

impl Tx {
    /// Adds products, or gives those that are there their new name and price.
    pub async fn put_products(&self, products: &[Product]) -> Result<(), StoreError> {
        for product in products {
            let row = ActiveModel {
                seq: NotSet,
                sku: Set(product.sku.clone()),
                name: Set(product.name.clone()),
                price_minor: Set(product.price.minor),
                currency: Set(product.price.currency.code().to_owned()),
            };
            let newer = OnConflict::column(Column::Sku)
                .update_columns([Column::Name, Column::PriceMinor, Column::Currency])
                .to_owned();
            Entity::insert(row).on_conflict(newer).exec_without_returning(&self.inner).await?;
        }
        Ok(())
    }
}

fn read(row: Model) -> Result<Product, StoreError> {
    let currency = Currency::parse(&row.currency).map_err(|_| rows::corrupt("products", "currency", &row.sku))?;
    Ok(Product { price: Money::new(row.price_minor, currency), sku: row.sku, name: row.name })
}
